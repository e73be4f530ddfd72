"""Tracing sessions of Windows: started, asked, stopped, consumed. Only this package imports pywintrace."""
