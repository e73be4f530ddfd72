"""Windows event logs (.evtx): batches of records as JSON text, decoded in processes that can be killed."""
