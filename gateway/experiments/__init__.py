"""An experiment of the article on the running product: what it needs there, and its traffic over HTTP."""
