"""Where messages go: to a stream, to a file, over the network, or to several of these at once.

The names are in `__init__.pyi`. Each is imported on first use, because the shippers over HTTP
need urllib3.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
