"""Where names, peers and routes come from: what a gateway that is not ours knows of its overlay.

The names are in `__init__.pyi`, each imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
