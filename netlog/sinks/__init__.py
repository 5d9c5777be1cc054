"""Where messages go: a stream, a file, over the network; to several of them at once.

The names are in `__init__.pyi`, each imported when it is first used: the shippers over HTTP need
urllib3.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
