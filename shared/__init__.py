"""What both services say to each other and to the world: wire model, names, settings, logs. No driver."""
