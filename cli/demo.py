"""demo"""
from cli.options import Example
EXAMPLES=(Example("regtrace demo","x"),)
def demo() -> None:
    """Show the whole job on a simulated trace."""
