"""LoRA-SAE Lab: make a language model work with its sparse autoencoder, and look inside while it happens.

The floors, from the cellar up; imports only go down (docs/architecture.md):

    errors, config, metrics      the words everyone shares; no torch
    core/                        the maths: tensors in, tensors out; no disk, no network, no clock
    catalog, loading, data, …    services: disk, network, processes; no Gradio
    cli                          the terminal

This file re-exports nothing, so that importing one room never opens all of them.
"""

__version__ = "0.1.0"
