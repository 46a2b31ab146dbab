"""The embedded model's making: what a new one takes over from an earlier one."""

import torch
from transformers import AutoModelForImageTextToText

from policies import processor
from policies.loading import NANO
from policies.nano.build import build, inherit


def test_a_new_model_begins_with_an_earlier_ones_weights_word_by_word() -> None:
    earlier, theirs = AutoModelForImageTextToText.from_pretrained(NANO), processor.load(str(NANO)).tokenizer
    model, made = build(["touch the zeppelin"] * 3)
    mine = made.tokenizer
    inherit(model, mine, NANO)
    row, word = model.get_input_embeddings().weight, earlier.get_input_embeddings().weight
    for known in ("<n7>", "<image>", "<end_of_utterance>"):
        assert torch.equal(row[mine.convert_tokens_to_ids(known)], word[theirs.convert_tokens_to_ids(known)])
    new = mine.convert_tokens_to_ids("▁zeppelin")
    assert new is not None and theirs.convert_tokens_to_ids("▁zeppelin") == theirs.unk_token_id
    parts = theirs.encode(" zeppelin", add_special_tokens=False)
    assert len(parts) > 1 and torch.allclose(row[new], word[parts].mean(0))
    others = {name: value for name, value in earlier.state_dict().items() if value.shape != word.shape}
    assert len(others) > 100 and all(torch.equal(model.state_dict()[name], value) for name, value in others.items())
