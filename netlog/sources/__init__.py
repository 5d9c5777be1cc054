"""Sources of names, peers and routes: what a gateway other than netlog's knows of its overlay.

The names are in `__init__.pyi`. Each is imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
