"""Documents of the OCI as frozen records: decode, encode, and the rules that hold between their values.

::

    text ── lean_json.loads ──► object ── decode ──► Spec ── rules.validate ──► plan
                                             ◄── encode ──

Nothing here touches the host: a document is judged by itself. Modules are named after the concepts of the
specification; import from the module that owns the name (``from pycontain.spec.process import Process``).
"""
