"""What a model lends to assistants: tools of MCP, and a dialogue whose turns may call tools."""
