"""The pocket tokenizer: byte-level BPE over the pocket world's text, with Gemma's special tokens and manners."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from lorasae.demo.build.plan import BOS

SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>")


def train_tokenizer(texts: Iterable[str], vocab: int, max_length: int) -> PreTrainedTokenizerFast:
    """Learn `vocab` tokens from the texts.

    Every byte is a token, so any text can be encoded and decoded without loss. Like Gemma's, the tokenizer keeps digits apart, puts
    `<bos>` before what it encodes, adds no `<eos>`, and pads on the left.
    """
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", BOS)])
    pad, eos, bos, unk = SPECIAL_TOKENS
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=pad,
        eos_token=eos,
        bos_token=bos,
        unk_token=unk,
        padding_side="left",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
