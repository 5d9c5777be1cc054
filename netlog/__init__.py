"""netlog meters the traffic of an overlay gateway and emits network flow log messages.

`__init__.pyi` lists the public names and where they come from. Each is imported when it is first
used, so that `import netlog` loads neither numpy nor the compiled core.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
