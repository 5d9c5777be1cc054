"""Fuzzers: of the core, in core/, and of what Python parses, in parsers/. See CONTRIBUTING.md."""
