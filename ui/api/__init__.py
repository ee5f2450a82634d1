"""Easel for programs: named endpoints over HTTP, and the same as MCP tools.  docs/api.md tells how to ask them."""
