"""Captures as other programs read them: Timesketch, Elastic, OCSF, Splunk, Perfetto, log2timeline."""
