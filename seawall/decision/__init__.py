"""Decision: agents form opinions on frames, and the orchestrator turns opinions into intents."""
