"""Questions for programs that speak the Model Context Protocol: tools, checked arguments, bounded answers, marked text."""
