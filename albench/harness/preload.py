"""Preload: what the forkserver imports once so that no case has to.

Imports only. No operator of torch runs here, no thread starts and no device is touched: all of that must be born in
the case's own process.
"""

import atexit
import gc
import importlib
import signal
import sys

# Ctrl-C goes to every process of a terminal. It is the sweep's to handle, and the server ends with the sweep; here it
# would only print where these imports were.
_obeyed = signal.signal(signal.SIGINT, signal.SIG_IGN)

sys.modules.setdefault("pyarrow", None)  # type: ignore[arg-type]  # pandas, which scikit-learn loads, would load it
# where it is installed, and it starts a thread; no case needs it

import albench.data.cifar
import albench.data.digits
import albench.data.folder
import albench.data.mnist
import albench.data.synthetic
import albench.engines.fused
import albench.engines.ranks
import albench.engines.serial
import albench.engines.threads
import albench.harness.case
import albench.harness.memory_pass
import albench.harness.peak
import albench.harness.sampler
import albench.methods.al
import albench.methods.al_ddp
import albench.methods.bp
import albench.methods.ddp
import albench.methods.pipelines
import albench.networks.cnns
import albench.networks.mlps
import albench.networks.resnets
import albench.networks.vggs  # noqa: F401

importlib.import_module("torch._dynamo")  # the first optimizer does so: three seconds that every case would pay again

signal.signal(signal.SIGINT, _obeyed or signal.SIG_DFL)  # the server chooses its own, and its children get this one

# What was imported stays for good. Frozen, it is never looked at again by a collection, which would cost each case
# a tenth of a second and copy the pages that it shares with the forkserver.
gc.collect()
gc.freeze()
atexit.register(gc.unfreeze)  # so that the forkserver can tidy up when it ends
