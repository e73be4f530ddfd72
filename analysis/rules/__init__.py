"""Rules about captures: places that Windows starts from by itself, and Sigma rules with three answers."""
