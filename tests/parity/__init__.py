"""One application, run on CherryPy and on cpadapter, and the answers compared."""
