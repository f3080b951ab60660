"""The only package that may know all the others: settings, routes and processes."""
