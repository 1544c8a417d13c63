"""What decoders built on language models of transformers share: tokenizers, generation, adapters, weights.

Two papers meet here: DAM feeds region tokens to a causal language model, RegionVLM to an encoder and decoder of the T5
family. ViZer trains adapters inside either.
"""
