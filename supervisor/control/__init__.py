"""The control socket: HTTP/1.1 and JSON over a Unix socket, and who may do what on it."""
