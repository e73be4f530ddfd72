"""A capture as versions: change sets with names, one of them as a diff, who wrote what stands in a tree, the tree as files."""
