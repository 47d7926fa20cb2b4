"""A stand-in for the vendor Influtics, in a process of its own: `python -m sandbox.vendor --folder DIR`.

It speaks the vendor's documented API (`account_api`), has the dashboard where people make and delete
keys (`dashboard`), a key-management API for automatic rotation (`key_api`), a ledger of every call
(`state`), and a control API by which tests order faults and look behind the scenes (`control`,
`faults`). Standard library only; listens on 127.0.0.1 only. Everything it knows lies in a journal in
its folder and survives a restart and a SIGKILL; ordered faults and dashboard sessions do not.
"""
