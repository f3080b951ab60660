#!/usr/bin/env python
"""Every Fairlane command: `manage.py help` lists them."""

from config.cli import main

if __name__ == "__main__":
    main()
