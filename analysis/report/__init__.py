"""One report of a capture to hand over: a page that needs no network, or Markdown."""
