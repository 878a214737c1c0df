"""What an extension author builds on: hooks, tools, toolboxes, dispatchers, config namespaces."""
