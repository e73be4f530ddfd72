"""`regtrace schema`."""
from cli.options import Example
EXAMPLES = (Example("regtrace schema", "every table and column"), Example("regtrace schema events", "only one"))
def schema() -> None:
    """Print the tables and columns of a capture."""
    print("hi")
