"""Where rows come from: a local folder, the hub, new text; read and checked."""
