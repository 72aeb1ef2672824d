from hypothesis import given
from hypothesis import strategies as st

from sandwiching.tasks.names import Gazetteer, fold, plain


def gazetteer() -> Gazetteer:
    found = Gazetteer()
    found.add("guinea", ["Guinea"])
    found.add("bissau", ["Guinea-Bissau"])
    found.add("congo 1", ["Congo", "DR Congo"])
    found.add("congo 2", ["Congo"])
    found.add("ivory", ["Côte d'Ivoire"])
    found.add("us", ["US", "U.S."])
    found.add("", ["Gulf of Guinea"])
    return found


def test_longest_name_from_the_left() -> None:
    mentions = gazetteer().mentions
    assert mentions("Guinea-Bissau, not Guinea") == [{"bissau"}, {"guinea"}]
    assert mentions("the Gulf of Guinea") == []
    assert mentions("Guineas") == []
    assert mentions("Guinea's coast") == [{"guinea"}]


def test_one_spelling_may_mean_several() -> None:
    assert gazetteer().mentions("Congo") == [{"congo 1", "congo 2"}]
    assert gazetteer().mentions("DR Congo") == [{"congo 1"}]


def test_accents_and_marks() -> None:
    assert gazetteer().mentions("COTE D’IVOIRE!") == [{"ivory"}]
    assert fold("  São Tomé ") == "sao tome"
    assert fold("Ærø") == fold("aerø") == "aero"
    assert plain("N'Djaména, Łódź") == "N'Djamena, Lodz"


def test_english_words_need_a_capital() -> None:
    assert gazetteer().mentions("tell us") == []
    assert gazetteer().mentions("in the US, or the u.s.") == [{"us"}, {"us"}]


@given(st.text())
def test_any_text_can_be_searched(text: str) -> None:
    assert all(keys for keys in gazetteer().mentions(text))
    assert gazetteer().mentions(f"{text} | Guinea.")[-1] == {"guinea"}
