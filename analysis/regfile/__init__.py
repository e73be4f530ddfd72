"""Net changes as files: .reg for regedit, scripts for PowerShell, tables in Markdown."""
