"""Rules that rewrite sentences of narratives: a table of our own sentences, and what holds for every sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regionkit.plugins.datasets.narratives.rules import rewrite, same

#: Sentences and their captions, None for those that describe nothing; the first thirteen are the paper's.
TABLE: list[tuple[str, str | None]] = [
    (
        "We can see a young elephant stands which is near the water in a wooded area.",
        "A young elephant stands near the water in a wooded area.",
    ),
    (
        "In this image I can see some young children kicking a soccer ball in a field.",
        "Some young children kicking a soccer ball in a field.",
    ),
    (
        "In the left of the image, we see a pole that has two green street signs on it.",
        "A pole has two green street signs on it.",
    ),
    (
        "We can see two surfboards which are stuck in the sand along the seashore.",
        "Two surfboards stuck in the sand along the seashore.",
    ),
    ("This image consists of a man which rides a wakeboard behind a boat.", "A man rides a wakeboard behind a boat."),
    (
        "In the background, there are a bunch of sticky notes and a pair of scissors.",
        "A bunch of sticky notes and a pair of scissors.",
    ),
    (
        "It looks like a sepia-toned photograph of a motorcycle underneath the shadow of a tree.",
        "A sepia-toned photograph of a motorcycle underneath the shadow of a tree.",
    ),
    ("There is a sky", "A sky."),
    ("She is smiling.", "A girl smiling."),
    ("The image is taken indoor.", None),
    ("This image is edited.", None),
    ("The image is blurred.", None),
    ("I think he is about to jump.", None),
    ("In this image we can see a man riding a horse.", "A man riding a horse."),
    ("In this picture there is a woman standing on the floor.", "A woman standing on the floor."),
    ("On the right side of the image there is a tree.", "A tree."),
    ("At the bottom of the image I can see grass.", "Grass."),
    ("On the left side, we can see a car parked on the road.", "A car parked on the road."),
    ("In the background of the image there are trees and a wall.", "Trees and a wall."),
    ("Behind the man there is a fence.", "A fence behind the man."),
    ("In front of the table there is a dog.", "A dog in front of the table."),
    ("We can also see a few people walking on the footpath.", "A few people walking on the footpath."),
    ("Here we can see a cat sleeping on a couch.", "A cat sleeping on a couch."),
    ("There are many books in the shelf.", "Many books in the shelf."),
    ("This is a zoomed in picture of a flower.", "A zoomed in picture of a flower."),
    ("This is a dog.", "A dog."),
    ("A dog is sitting on the bench.", "A dog is sitting on the bench."),
    ("At the top of the image the sky is visible.", "The sky."),
    ("Trees are visible in the background.", "Trees."),
    ("In the background we can see water, mountains and sky.", "Water, mountains and sky."),
    ("The background of the image is blurred.", None),
    ("The background is blurry.", None),
    ("This is an edited image.", None),
    ("This picture was clicked outside.", None),
    ("This is an outdoor image.", None),
    ("The image is in black and white.", None),
    ("It seems to be a sunny day.", None),
    ("He is wearing a hat and a black jacket.", "A man wearing a hat and a black jacket."),
    ("They are standing on the beach.", "People standing on the beach."),
    ("There might be a person behind the car.", None),
    ("To the left there is a bicycle leaning on the wall.", "A bicycle leaning on the wall."),
    ("In the center of the picture there is a plate which contains food.", "A plate contains food."),
    ("I can see", None),
    ("In this image.", None),
    ("There is an indoor plant on the table.", "An indoor plant on the table."),
    ("We see the buildings.", "The buildings."),
    ("The man is holding a bat and wearing a helmet.", "The man is holding a bat and wearing a helmet."),
    (
        "In the foreground I can see a table on which there are glasses and plates.",
        "A table on which there are glasses and plates.",
    ),
    ("The sky is blue.", "The sky is blue."),
    ("And there is a person who is sitting on the chair.", "A person sitting on the chair."),
    ("We can see a person and there is a dog.", "A person and a dog."),
    ("A boy and a girl can be seen in the image.", "A boy and a girl."),
    ("A lamp is present on the table.", "A lamp on the table."),
    ("This image has a train on the track.", "A train on the track."),
    ("The picture consists of two people playing tennis.", "Two people playing tennis."),
    ("On the top there is a roof with lights.", "A roof with lights."),
    ("Beside her there is a bag.", "A bag beside her."),
    ("It is a black cat.", "A black cat."),
    ("It has a handle.", "A handle."),
    ("In this image in the center there is a bus.", "A bus."),
    (
        "In the middle of the image we can see two persons are skiing on the snow.",
        "Two persons are skiing on the snow.",
    ),
    ("A few birds are flying in the sky.", "A few birds are flying in the sky."),
    (
        "In this image there is a person holding tennis racket, behind the person there are few people.",
        "A person holding tennis racket, behind the person there are few people.",
    ),
    ("At the back there is a building.", "A building."),
    ("She is a woman wearing a saree.", None),
    (
        "The person is wearing a blue color shirt, and we can see some trees.",
        "The person is wearing a blue color shirt, and some trees.",
    ),
    (
        "I can see few people, some are sitting and some are standing.",
        "Few people, some are sitting and some are standing.",
    ),
    ("At the left bottom corner, there is some text.", "Some text."),
    ("In the background, it is blurred.", None),
    ("On the table, there is a laptop.", "A laptop on the table."),
    ("This is the picture of a city.", "A city."),
    ("In the image, there is a giraffe and at the back there are trees.", "A giraffe and at the back there are trees."),
    ("It is an edited image", None),
    ("Towards left there is a man.", "A man."),
    ("Image is clicked in a room.", None),
    (
        "In this image, we can see an advertisement contains robots and some text.",
        "An advertisement contains robots and some text.",
    ),
    ("In the middle of the picture, we see the dog is lying.", "The dog is lying."),
    ("This image is taken from inside a bus.", None),
    ("There is a picture on the wall.", "A picture on the wall."),
    ("A picture is hanging on the wall.", "A picture is hanging on the wall."),
    ("The photo frame is attached to the wall.", "The photo frame is attached to the wall."),
    ("The woman holding a photo in her hand.", "The woman holding a photo in her hand."),
    ("In this image I can see a brown dog lying on a grey carpet.", "A brown dog lying on a grey carpet."),
    ("In this image, there are three zebras grazing in the field.", "Three zebras grazing in the field."),
    ("In this picture we can observe a yellow bus on the road.", "A yellow bus on the road."),
    ("This picture shows a group of people standing near a train.", "A group of people standing near a train."),
    ("The image consists of a kitchen with wooden cupboards.", "A kitchen with wooden cupboards."),
    ("This image contains a bowl of fruit.", "A bowl of fruit."),
    ("Here I can see a laptop and a mouse on the desk.", "A laptop and a mouse on the desk."),
    ("There we can see two cows.", "Two cows."),
    ("Also there is a red umbrella.", "A red umbrella."),
    ("And also we can see some flowers in the vase.", "Some flowers in the vase."),
    ("Then there is a small boat on the lake.", "A small boat on the lake."),
    ("We can see the sky with clouds.", "The sky with clouds."),
    ("We can find a clock on the tower.", "A clock on the tower."),
    ("You can see a bridge over the river.", "A bridge over the river."),
    ("One can notice a bird on the branch.", "A bird on the branch."),
    ("I see a motorbike parked beside the wall.", "A motorbike parked beside the wall."),
    ("I observe a child holding a kite.", "A child holding a kite."),
    ("In the front there is a fire hydrant.", "A fire hydrant."),
    ("In the foreground there are rocks.", "Rocks."),
    ("In the middle there is a pizza on a wooden board.", "A pizza on a wooden board."),
    ("In the center we can see a giraffe eating leaves.", "A giraffe eating leaves."),
    ("At the top right corner there is a lamp.", "A lamp."),
    ("On the left side of the picture there is a refrigerator.", "A refrigerator."),
    ("On the right hand side we can see a window with curtains.", "A window with curtains."),
    ("On the top left of the image there is a tree.", "A tree."),
    ("To the right side of the image there is a sofa with pillows.", "A sofa with pillows."),
    ("Towards the left side there is a ladder.", "A ladder."),
    ("At the bottom there is water.", "Water."),
    ("In the bottom right corner of the image we can see a shoe.", "A shoe."),
    ("Coming to the background there are hills.", "Hills."),
    ("In the background, I can see a few houses and poles.", "A few houses and poles."),
    ("In the background of this picture we can see a stadium.", "A stadium."),
    ("Behind the sheep there is a wooden fence.", "A wooden fence behind the sheep."),
    ("Beside the bed there is a lamp on the stool.", "A lamp on the stool beside the bed."),
    ("In front of the mirror there is a wash basin.", "A wash basin in front of the mirror."),
    ("Under the table there is a cat.", "A cat under the table."),
    ("On the wall there are photo frames.", "Photo frames on the wall."),
    ("In the plate there are vegetables and a spoon.", "Vegetables and a spoon in the plate."),
    ("Around the field, there are many spectators.", "Many spectators around the field."),
    ("Next to the car, there are two bicycles.", "Two bicycles next to the car."),
    ("A man which is wearing a red shirt is visible.", "A man wearing a red shirt."),
    ("A woman who is holding a bag walks on the street.", "A woman holding a bag walks on the street."),
    ("We can see a boy who is playing with a ball.", "A boy playing with a ball."),
    ("There is a truck that is parked on the road.", "A truck parked on the road."),
    ("I can see a table which has plates and glasses on it.", "A table has plates and glasses on it."),
    ("There is a girl who wears a blue dress.", "A girl wears a blue dress."),
    ("A wall is visible in the background.", "A wall."),
    ("The road is visible at the bottom of the image.", "The road."),
    ("Buildings can be seen in the background.", "Buildings."),
    ("A bench can also be seen.", "A bench."),
    ("A ball is present in the air.", "A ball in the air."),
    ("Two bottles are present on the shelf.", "Two bottles on the shelf."),
    ("A person is standing on the left side of the image.", "A person is standing."),
    ("A car on the right side of the image is parked.", "A car is parked."),
    ("A woman in this image is wearing sunglasses.", "A woman is wearing sunglasses."),
    ("There are few people in the background.", "Few people."),
    ("There is a snow on the ground, and trees in the background.", "A snow on the ground, and trees."),
    ("We can see a bat and we can see a ball.", "A bat and a ball."),
    ("There is a keyboard and there is a cup.", "A keyboard and a cup."),
    ("It is a wooden chair.", "A wooden chair."),
    ("These are green leaves.", "Green leaves."),
    ("Those are the mountains.", "The mountains."),
    ("This is a plate of rice and beans.", "A plate of rice and beans."),
    ("This looks like a train station.", "A train station."),
    ("It looks like a market.", "A market."),
    ("He is holding a surfboard.", "A man holding a surfboard."),
    ("She is sitting on a chair.", "A girl sitting on a chair."),
    ("They are playing frisbee.", "People playing frisbee."),
    ("He is in the water.", "A man in the water."),
    ("She is a tennis player.", None),
    ("It is kept on the table.", None),
    ("They have helmets.", None),
    ("He has a beard.", None),
    ("I can see people.", "People."),
    ("Trees.", "Trees."),
    ("A white horse.", "A white horse."),
    ("Two men in suits are shaking hands.", "Two men in suits are shaking hands."),
    ("The grass is green.", "The grass is green."),
    ("An elephant is spraying water with its trunk.", "An elephant is spraying water with its trunk."),
    ("A close-up of a pink rose.", "A close-up of a pink rose."),
    ("People walking on the sidewalk with umbrellas.", "People walking on the sidewalk with umbrellas."),
    ("The boy's jacket is blue.", "The boy's jacket is blue."),
    ("There's a kettle on the stove.", "A kettle on the stove."),
    ("There are 3.5 litre bottles on the rack.", "3.5 litre bottles on the rack."),
    ("there is a spoon", "A spoon."),
    ("THERE IS A SIGN BOARD.", "A SIGN BOARD."),
    ("  There   is  a   mug .  ", "A mug."),
    ('"There is a towel."', "A towel."),
    ("An indoor plant is on the table.", "An indoor plant is on the table."),
    ("People are eating at an outdoor restaurant.", "People are eating at an outdoor restaurant."),
    ("There is a photo of a dog on the shelf.", "A photo of a dog on the shelf."),
    ("This is the image of a beach.", "A beach."),
    ("The image is blurry.", None),
    ("The background is blurred.", None),
    ("In the background it is blur.", None),
    ("This image is taken outdoors.", None),
    ("This is an indoor image.", None),
    ("This picture is taken in a kitchen.", None),
    ("The picture is captured from the top of a building.", None),
    ("This photo was clicked at night.", None),
    ("The picture looks old.", None),
    ("The image has been edited.", None),
    ("It is an edited picture.", None),
    ("This is a black and white image.", None),
    ("The image is in black and white color.", None),
    ("This is a screenshot of a video game.", "A screenshot of a video game."),
    ("There is some text and a watermark on the image.", None),
    ("It seems like a birthday party.", None),
    ("The man seems to be angry.", None),
    ("This appears to be a restaurant.", None),
    ("I think this is a museum.", None),
    ("I guess they are waiting for the bus.", None),
    ("There might be a river behind the trees.", None),
    ("It may be a toy.", None),
    ("There is something, maybe a box.", None),
    ("Perhaps a dog is behind the door.", None),
    ("The text is not clear.", None),
    ("I am not sure what it is.", None),
    ("We can see in this image.", None),
    ("There is.", None),
    ("I can see.", None),
    ("In the background.", None),
    ("It is.", None),
    ("We can see something.", None),
    ("In the picture we can see it.", None),
    (".", None),
    (",", None),
]


def test_the_table_is_large_enough() -> None:
    assert len({sentence for sentence, _ in TABLE}) == len(TABLE) >= 100


@pytest.mark.parametrize(
    ("sentence", "caption"), [pytest.param(*row, id=f"{number:03}") for number, row in enumerate(TABLE)]
)
def test_sentences_become_captions(sentence: str, caption: str | None) -> None:
    assert rewrite(sentence) == caption


#: Some of these mean something to the rules, and some change their length in capitals.
_WORDS = sorted(
    {word for sentence, _ in TABLE for word in sentence.split()} | {"ß", "ŉ", "İ", ";", "-", "'", '"', "and,"}
)


def _holds(sentence: str) -> None:
    caption = rewrite(sentence)
    if caption is not None:
        assert 0 < len(caption) <= len(sentence)
        assert any(letter.isalnum() for letter in caption)
        assert rewrite(caption) == caption
        assert "\n" not in caption


def test_captions_of_the_table_are_their_own() -> None:
    for sentence, _ in TABLE:
        _holds(sentence)


@given(st.lists(st.sampled_from(_WORDS), max_size=14))
def test_captions_of_any_words_are_their_own_and_no_longer(words: list[str]) -> None:
    _holds(" ".join(words))


@given(st.text(max_size=60))
def test_captions_of_any_text_are_their_own_and_no_longer(text: str) -> None:
    _holds(text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "sentence",
    [
        pytest.param("a-" * 50_000 + "!", id="hyphens"),
        pytest.param(" " * 100_000 + "a", id="blanks"),
        pytest.param("in the left " * 10_000, id="places"),
        pytest.param("we can see " * 80, id="seeing"),
        pytest.param("-" * 998 + "a", id="dashes"),
    ],
)
def test_endless_sentences_do_not_hang(sentence: str) -> None:
    _holds(sentence)


@pytest.mark.parametrize(
    ("sentence", "caption", "wanted"),
    [
        pytest.param("a white horse", "A white horse.", True, id="case-and-stop"),
        pytest.param("There is a horse.", "A horse.", False, id="shorter"),
    ],
)
def test_what_counts_as_unchanged(sentence: str, caption: str, wanted: bool) -> None:
    assert same(sentence, caption) is wanted
