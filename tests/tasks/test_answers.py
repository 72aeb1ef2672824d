import pytest

from sandwiching.tasks.answers import FAMILIAR, candidates, familiarity, misleading, named, names_right, plausible
from sandwiching.tasks.facts import KINDS, facts
from sandwiching.tasks.names import fold

ALL = {fact.id: fact for fact in facts(list(KINDS), 500_000)}


@pytest.mark.parametrize(
    ("fact", "response", "right"),
    [
        ("capital/AU", "Canberra", True),
        ("capital/AU", "It's CANBERRA, not Sydney.", True),
        ("capital/AU", "Sydney is larger, but Canberra is the capital.", False),
        ("capital/AU", "I do not know", False),
        ("capital/AU", "", False),
        ("capital/BR", "Brasília", True),
        ("capital/UA", "Kiev", True),
        ("capital/KZ", "Nur-Sultan", True),
        ("capital/IN", "Delhi", True),
        ("capital/IN", "Mumbai", False),
        ("capital/SV", "The capital of El Salvador is San Salvador.", True),
        ("capital/BR", "Salvador", False),
        ("currency/LB", "Lebanese lira", True),
        ("currency/TR", "pound", False),
        ("capital/MV", "a male voice", False),
        ("capital/MV", "Malé.", True),
        ("country_of_capital/CI", "Côte d’Ivoire", True),
        ("country_of_capital/CD", "the DRC", True),
        ("country_of_capital/GN", "Guinea-Bissau", False),
        ("country_of_capital/TR", "Türkiye", True),
        ("country_of_capital/US", "tell us", False),
        ("neighbour/GH", "Ghana borders Togo.", True),
        ("neighbour/GH", "Ghana borders Nigeria and Togo.", False),
        ("neighbour/GH", "Ghana", False),
        ("currency/NA", "the Namibian dollar", True),
        ("currency/NA", "US dollar", False),
        ("currency/NA", "rand", True),
        ("currency/SN", "West African CFA franc (XOF)", True),
        ("currency/CH", "CFA franc", False),
        ("currency/SE", "Swedish krona", True),
        ("currency/SE", "crown", True),
        ("currency/HR", "kuna", False),
        ("currency/HR", "euros", True),
    ],
)
def test_names_right(fact: str, response: str, right: bool) -> None:
    assert names_right(ALL[fact], response) is right


def test_every_right_answer_is_recognised_in_every_wording() -> None:
    for fact in ALL.values():
        for text in (fact.best.text, f"It is definitely {fact.best.phrase}.", fact.sentence(fact.best)):
            assert names_right(fact, text), (fact.id, text)


def test_candidates() -> None:
    for fact in ALL.values():
        names = candidates(fact)
        sentences = [fact.sentence(name) for name in names]
        assert names[0] == fact.best
        assert len({fold(sentence) for sentence in sentences}) == 4
        assert [names_right(fact, sentence) for sentence in sentences] == [True, False, False, False], fact.id


def test_the_misleading_name_is_wrong_believable_and_more_familiar_than_any_right_one() -> None:
    misled = 0
    for fact in ALL.values():
        lure = misleading(fact)
        if lure is None:
            continue
        misled += 1
        assert candidates(fact)[1] == lure
        assert plausible(fact, lure)
        assert not names_right(fact, lure.text)
        assert lure.familiarity >= FAMILIAR * fact.best.familiarity
        assert familiarity(fact, fact.sentence(lure)) >= FAMILIAR * familiarity(fact, fact.sentence(fact.best))
    assert 0.5 < misled / len(ALL) < 0.95


@pytest.mark.parametrize(
    ("fact", "lure"),
    [
        ("capital/AU", "Sydney"),
        ("capital/TR", "Istanbul"),
        ("capital/UY", "Sao Paulo"),
        ("country_of_capital/AT", "Germany"),
        ("country_of_capital/CN", None),
        ("neighbour/RW", "Nigeria"),
        ("neighbour/VN", None),
        ("currency/DK", "Euro"),
        ("currency/US", None),
    ],
)
def test_misleading_names(fact: str, lure: str | None) -> None:
    found = misleading(ALL[fact])
    assert (found.text if found else None) == lure


def test_familiarity_needs_a_name_that_could_be_believed() -> None:
    fact = ALL["capital/NP"]
    assert familiarity(fact, "Shanghai") > familiarity(fact, "Kathmandu") > 0
    assert familiarity(fact, "New York City") == 0
    assert familiarity(fact, "no idea") == 0
    assert [name.text for name in named(fact, "Kathmandu")] == ["Kathmandu"]
