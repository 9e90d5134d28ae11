"""Commands for maintainers: what takes too long, or needs another machine, for the suite."""
