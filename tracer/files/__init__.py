"""Output files and folders: where they go, and where they are made until they are whole."""
