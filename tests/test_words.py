"""Words for faces: what they mean, which faces they find, and where they may stand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import cli

from facegan.core.errors import FaceganError, UsageError
from facegan.editing import vocabulary, words
from facegan.editing.attributes import Attributes
from facegan.editing.vocabulary import is_in_words, meaning, one_attribute
from facegan.editing.words import faces_in_words, find_words
from facegan.faces import latents
from facegan.faces.synthesis import critic_scores, draw_faces
from facegan.models.checkpoint import LoadedGenerator
from facegan.networks import build_critic

CELEBA = ("Male", "Young", "Smiling", "Eyeglasses", "No_Beard", "Black_Hair", "Wavy_Hair", "5_o_Clock_Shadow")


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("smiling woman", {"Smiling": 1, "Male": -1}),
        ("Neutral MAN", {"Smiling": -1, "Male": 1}),
        ("an old man with glasses", {"Young": -1, "Male": 1, "Eyeglasses": 1}),
        ("boy without glasses", {"Male": 1, "Young": 1, "Eyeglasses": -1}),
        ("no glasses", {"Eyeglasses": -1}),
        ("not smiling girl", {"Smiling": -1, "Male": -1, "Young": 1}),
        ("beard", {"No_Beard": -1}),
        ("no beard", {"No_Beard": 1}),
        ("without a beard", {"No_Beard": 1}),
        ("not no beard", {"No_Beard": -1}),
        ("No_Beard", {"No_Beard": 1}),
        ("nobeard", {"No_Beard": 1}),
        ("blackhair", {"Black_Hair": 1}),
        ("person with black hair and a moustache-free smile", None),
        ("black-haired", {"Black_Hair": 1}),
        ("5 o clock shadow", {"5_o_Clock_Shadow": 1}),
        ("not wavy_hair", {"Wavy_Hair": -1}),
        ("man, woman", None),
        ("man man", {"Male": 1}),
    ],
)
def test_what_words_say(text, means):
    if means is None:
        with pytest.raises(UsageError):
            meaning(text, CELEBA)
    else:
        assert meaning(text, CELEBA) == means


def test_the_same_words_have_a_meaning_in_another_table():
    """UTKFace: gender 1 is female, age in years."""
    assert meaning("old woman", ["age", "gender"]) == {"age": 1, "gender": 1}
    assert meaning("boy", ["age", "gender"]) == {"gender": -1, "age": -1}
    assert meaning("winks", ["Winks"]) == {"Winks": 1}


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("smilling woman", "'smilling' in 'smilling woman' is not a word", "smiling"),
        ("black woman", "'black'", "black hair"),
        ("woman xyzzy", "'xyzzy'", "Words are man, woman"),
        ("bald man", "'bald' needs the attribute Bald", "It knows Male"),
        ("smiling neutral man", "Smiling is both wanted and not", ""),
        ("man without", "does not say what is meant by 'without'", "without glasses"),
        ("a person", "says nothing about the face", ""),
        ("not boy", "leaves open what is meant", "not Male or not Young"),
    ],
)
def test_words_that_cannot_be_understood_are_answered(text, says, hint):
    with pytest.raises(UsageError) as caught:
        meaning(text, CELEBA)
    assert says in caught.value.message and hint in caught.value.hint


def test_every_word_of_the_table_has_one_row_and_can_be_typed():
    every = [word for row in vocabulary.TABLE for word in row.words]
    assert len(every) == len(set(every)) and all(word == vocabulary.plain(word) for word in every)
    celeba = {part[1:] for row in vocabulary.TABLE for part in row.meanings[0].split()}
    for row in vocabulary.TABLE:
        for word in row.words:
            assert meaning(word, sorted(celeba)) == {
                part[1:]: 1 if part[0] == "+" else -1 for part in row.meanings[0].split()
            }


def test_the_docs_show_the_table():
    page = (Path(__file__).parent.parent / "docs" / "getting-started.md").read_text("utf-8")
    for row in vocabulary.TABLE:
        meant = row.meanings[0].replace("+", "").replace("-", "not ")
        assert f"| {', '.join(row.words)} | {meant} |" in page


def test_one_word_for_one_attribute():
    assert one_attribute("Glasses", CELEBA) == ("Eyeglasses", 1)
    assert one_attribute("beard", CELEBA) == ("No_Beard", -1)
    assert one_attribute("nose", CELEBA) is None
    with pytest.raises(UsageError, match="'boy' is Male and Young together"):
        one_attribute("boy", CELEBA)


@pytest.mark.parametrize("text", ["smiling woman", "woman xyzzy", "smilin", "no glasses", "wavy hair"])
def test_texts_that_are_meant_as_words(text):
    assert is_in_words(text)


@pytest.mark.parametrize("text", ["abc", "4x4", "-3", "../x", "missing.nyp", "", "3:", "smile.npz", "young/1"])
def test_texts_that_are_not_meant_as_words(text):
    assert not is_in_words(text)


# The faces.


def test_the_faces_fit_and_are_those_of_the_seed(known: tuple[LoadedGenerator, Attributes]):
    loaded, attributes = known
    found = faces_in_words(loaded, attributes, "smiling  woman", seed=7)
    assert found.name == "smiling woman" and found.caption == "smiling woman (average of 10)"
    assert found.latents.shape == (10, 8) and len(set(found.labels)) == 10
    again = latents.parse_spec(",".join(found.labels), 0, 8)
    assert np.array_equal(again.latents, found.latents) and all(label.startswith("7:") for label in found.labels)
    smiling, male = attributes.find("Smiling"), attributes.find("Male")
    scores = attributes.scores(draw_faces(loaded.module, loaded.config.networks, found.latents))
    assert (scores[:, smiling] > 0).all() and (scores[:, male] < 0).all()
    assert found.labels == faces_in_words(loaded, attributes, "smiling woman", seed=7).labels
    assert set(found.labels) != set(faces_in_words(loaded, attributes, "smiling woman", seed=8).labels)


def test_what_was_not_named_is_in_balance(known: tuple[LoadedGenerator, Attributes]):
    """In the average of ten random faces the rest of a score, brought to deviation 1, would be about sqrt(1/10)."""
    loaded, attributes = known
    named = attributes.weights[:, [attributes.find("Smiling"), attributes.find("Male")]]
    other = attributes.weights[:, attributes.find("Eyeglasses")]
    rest = other - named @ np.linalg.lstsq(named, other, rcond=None)[0]
    means = [faces_in_words(loaded, attributes, "smiling woman", seed=seed).mean @ rest for seed in range(8)]
    assert np.sqrt(np.mean(np.square(means))) < 0.25 * np.linalg.norm(rest)


def test_faces_that_the_critic_finds_real_are_preferred(known):
    loaded, attributes = known
    torch.manual_seed(0)
    critic = build_critic(loaded.config)
    with_critic = replace(loaded, critic=critic.state_dict())
    real = []
    for each in (loaded, with_critic):
        z = np.concatenate([faces_in_words(each, attributes, "smiling woman", seed).latents for seed in range(4)])
        faces = draw_faces(loaded.module, loaded.config.networks, z)
        real.append(critic_scores(critic, loaded.config.networks, faces).mean())
    assert real[1] > real[0]


def test_rare_faces_are_made_up_by_the_nearest_and_that_is_said(known, monkeypatch):
    loaded, attributes = known
    monkeypatch.setattr(words, "POOL", 12)
    said: list[str] = []
    found = faces_in_words(loaded, attributes, "smiling woman with glasses", note=said.append)
    assert len(found.labels) == 10 and "of the 12 faces looked through are clear cases" in said[0]


def test_words_are_what_is_no_index_file_or_photo(known, workdir, monkeypatch):
    loaded, attributes = known
    monkeypatch.setattr(words, "attributes_of", lambda _: attributes)
    Path("woman").write_bytes(b"a photo, for all we know")
    said: list[str] = []
    items = ["44", "7:1-3", "man.jpg", "man.npy", "woman", "smiling man", "xyzzy"]
    assert list(find_words(loaded, items, 0, note=said.append)) == ["smiling man"]
    assert "'smiling man' (Smiling, Male) is the average of " in said[-1]


def test_without_attributes_words_are_refused_with_the_command_that_learns_them(known, workdir):
    loaded, _ = known
    assert find_words(loaded, ["44", "xyzzy"], 0) == {}
    with pytest.raises(FaceganError) as caught:
        find_words(loaded, ["44", "smiling woman"], 0)
    assert "facegan attributes" in caught.value.hint


def test_a_refused_attribute_is_refused_by_its_reason(known):
    loaded, attributes = known
    refused = tuple(replace(attribute, refused="nobody can") for attribute in attributes.known)
    with pytest.raises(UsageError, match="nobody can"):
        faces_in_words(loaded, replace(attributes, known=refused), "smiling")


def test_the_equation_in_words(ckpt_with_words):
    spoken = ["--plus", "smiling woman", "--minus", "neutral woman", "--plus", "neutral man, 44"]
    code, _, err = cli("arithmetic", "g.safetensors", *spoken, "--seed", "3", "--save")
    assert code == 0, err
    assert "'neutral woman' (not Smiling, not Male) is the average of 3:" in err
    first = np.load("outputs/arithmetic-001.npy")
    assert cli("arithmetic", "g.safetensors", *spoken, "--seed", "4", "--save")[0] == 0
    assert not np.allclose(first, np.load("outputs/arithmetic-002.npy"))
    code, _, err = cli("arithmetic", "g.safetensors", "--plus", "smilling woman")
    assert code == 2 and "smiling" in err
    code, _, err = cli("interpolate", "g.safetensors", "--through", "qqqq", "--through", "1")
    assert code == 2 and 'or words such as "smiling woman"' in err
