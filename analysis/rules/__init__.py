"""Rules about captures: the table of autostart points, and Sigma rules, answered with yes, no, or cannot tell."""
