"""Pure: host facts and a spec in, a plan of operations out; nothing here touches the host."""
