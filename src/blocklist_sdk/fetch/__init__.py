"""How signed files come here: transport over HTTP and from directories, and trust (TUF) in what came."""
