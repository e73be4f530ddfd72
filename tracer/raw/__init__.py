"""Raw ETW as text: records that other tools decoded become the records that they were, for the pipeline that reads .etl."""
