"""Commands: what the command line does, a file a kind of work. Each reads options and calls the rooms below."""
