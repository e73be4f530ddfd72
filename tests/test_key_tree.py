"""The tree of keys above rows: every row below its whole path, every count right."""

from hypothesis import given
from hypothesis import strategies as st

from cli.tables.key_tree import key_tree

COMPONENT = st.sampled_from(["HKLM", "A", "a", "B", "C:", "x y", ""])
KEYS = st.lists(st.lists(COMPONENT, min_size=1, max_size=5).map("\\".join), max_size=12)


@given(KEYS)
def test_headings_spell_the_path_of_every_row_and_count_what_is_below(keys: list[str]) -> None:
    order, headings = key_tree(keys)
    assert sorted(order) == list(range(len(keys)))
    stack: list[tuple[int, str, int, int]] = []  # depth, path, rows said, first place
    closed = []
    for place, row in enumerate(order):
        for one in headings.get(place, ()):
            while stack and stack[-1][0] >= one.depth:
                closed.append((*stack.pop(), place))
            assert one.depth == len(stack)
            above = stack[-1][1] + "\\" if stack else ""
            stack.append((one.depth, above + one.path, one.rows, place))
        assert stack[-1][1].upper() == keys[row].upper()
    closed += [(*one, len(order)) for one in stack]
    for _, _, said, first, last in closed:
        assert said == last - first


@given(KEYS)
def test_rows_of_one_key_keep_their_order(keys: list[str]) -> None:
    order, _ = key_tree(keys)
    for key in {key.upper() for key in keys}:
        own = [row for row in order if keys[row].upper() == key]
        assert own == sorted(own)


def test_a_path_of_thousands_of_components_is_no_recursion() -> None:
    keys = ["\\".join(["HKLM", *("a",) * 5000]), "HKLM"]
    order, headings = key_tree(keys)
    assert order == [1, 0]
    assert [one.rows for some in headings.values() for one in some] == [2, 1]
