"""The grammar's own words: what CLDR has no names for, so that there is somebody to do something."""

from __future__ import annotations

from trainables.tasks.grammar.nouns import THE, A, Adjective, Determiner, Noun
from trainables.tasks.grammar.verbs import Subject, Verb
from trainables.tasks.grammar.words import Words


def _nouns(table: str) -> tuple[Noun, ...]:
    """One noun a line: German, gender, German plural, English, English plural, kinds."""
    return tuple(Noun(*line.split()) for line in table.strip().splitlines())


def _verbs(table: str) -> tuple[Verb, ...]:
    """One verb a line, fields divided by slashes; a bar divides the separable prefix from the infinitive."""
    verbs = []
    for line in table.strip().splitlines():
        infinitive, *rest = (field.strip() for field in line.split("/"))
        prefix, _, base = infinitive.rpartition("|")
        verbs.append(Verb(base, prefix, *rest))
    return tuple(verbs)


def _adjectives(table: str) -> tuple[Adjective, ...]:
    """German stem=English."""
    return tuple(Adjective(*pair.split("=")) for pair in table.split())


# g: a group, which English refers to by "that".
PEOPLE = _nouns("""
    Lehrer m Lehrer teacher teachers
    Ärztin f Ärztinnen doctor doctors
    Kind n Kinder child children
    Fahrer m Fahrer driver drivers
    Ingenieurin f Ingenieurinnen engineer engineers
    Händler m Händler dealer dealers
    Köchin f Köchinnen cook cooks
    Richter m Richter judge judges
    Mädchen n Mädchen girl girls
    Gast m Gäste guest guests
    Firma f Firmen company companies g
    Team n Teams team teams g
    Besucher m Besucher visitor visitors
    Freundin f Freundinnen friend friends
    Verein m Vereine club clubs g
    Mitglied n Mitglieder member members
    Schwester f Schwestern sister sisters
    Vater m Väter father fathers
""")

# t: text, w: that is written, s: that is signed; d: works on electricity, r: is repaired; o: is opened.
THINGS = _nouns("""
    Brief m Briefe letter letters tow
    Karte f Karten map maps tr
    Buch n Bücher book books trw
    Vertrag m Verträge contract contracts tws
    Rechnung f Rechnungen invoice invoices tws
    Bericht m Berichte report reports tws
    Formular n Formulare form forms ts
    Zeitung f Zeitungen newspaper newspapers t
    Gedicht n Gedichte poem poems tw
    Paket n Pakete package packages o
    Koffer m Koffer suitcase suitcases or
    Kiste f Kisten box boxes o
    Tasche f Taschen bag bags or
    Tisch m Tische table tables r
    Stuhl m Stühle chair chairs r
    Lampe f Lampen lamp lamps dr
    Fahrrad n Fahrräder bicycle bicycles r
    Wagen m Wagen car cars r
    Maschine f Maschinen machine machines dr
    Gerät n Geräte device devices dr
    Drucker m Drucker printer printers dr
    Uhr f Uhren clock clocks r
    Telefon n Telefone telephone telephones dr
    Bild n Bilder picture pictures
    Mantel m Mäntel coat coats
    Schlüssel m Schlüssel key keys
    Flasche f Flaschen bottle bottles o
    Messer n Messer knife knives
""")

ACTIONS = _verbs("""
    kaufen / kauft / gekauft / buy / buys / bought / bought / *
    verkaufen / verkauft / verkauft / sell / sells / sold / sold / *
    suchen / sucht / gesucht / look for / looks for / looked for / looked for / *
    finden / findet / gefunden / find / finds / found / found / *
    bestellen / bestellt / bestellt / order / orders / ordered / ordered / *
    liefern / liefert / geliefert / deliver / delivers / delivered / delivered / *
    bezahlen / bezahlt / bezahlt / pay for / pays for / paid for / paid for / *
    brauchen / braucht / gebraucht / need / needs / needed / needed / *
    verlieren / verliert / verloren / lose / loses / lost / lost / *
    prüfen / prüft / geprüft / check / checks / checked / checked / *
    vergessen / vergisst / vergessen / forget / forgets / forgot / forgotten / *
    nehmen / nimmt / genommen / take / takes / took / taken / *
    ab|holen / holt / abgeholt / pick up / picks up / picked up / picked up / *
    mit|bringen / bringt / mitgebracht / bring along / brings along / brought along / brought along / *
    zurück|geben / gibt / zurückgegeben / return / returns / returned / returned / *
    ein|packen / packt / eingepackt / wrap / wraps / wrapped / wrapped / *
    öffnen / öffnet / geöffnet / open / opens / opened / opened / o
    reparieren / repariert / repariert / repair / repairs / repaired / repaired / r
    aus|schalten / schaltet / ausgeschaltet / switch off / switches off / switched off / switched off / d
    ein|schalten / schaltet / eingeschaltet / switch on / switches on / switched on / switched on / d
    lesen / liest / gelesen / read / reads / read / read / t
    schreiben / schreibt / geschrieben / write / writes / wrote / written / w
    unterschreiben / unterschreibt / unterschrieben / sign / signs / signed / signed / s
    aus|drucken / druckt / ausgedruckt / print / prints / printed / printed / ts
""")

GIVING = _verbs("""
    zeigen / zeigt / gezeigt / show / shows / showed / shown / *
    bringen / bringt / gebracht / bring / brings / brought / brought / *
    schicken / schickt / geschickt / send / sends / sent / sent / *
    schenken / schenkt / geschenkt / give / gives / gave / given / *
""")

TRAVELLING = _verbs("""
    fahren / fährt / gefahren / drive / drives / drove / driven / to / sein
    fliegen / fliegt / geflogen / fly / flies / flew / flown / to / sein
    reisen / reist / gereist / travel / travels / traveled / traveled / to / sein
    um|ziehen / zieht / umgezogen / move / moves / moved / moved / to / sein
    an|kommen / kommt / angekommen / arrive / arrives / arrived / arrived / in / sein
    wohnen / wohnt / gewohnt / live / lives / lived / lived / in / haben
    arbeiten / arbeitet / gearbeitet / work / works / worked / worked / in / haben
    zurück|kommen / kommt / zurückgekommen / come back / comes back / came back / come back / from / sein
""")

SPEAKING = _verbs("""
    sprechen / spricht / gesprochen / speak / speaks / spoke / spoken
    lernen / lernt / gelernt / learn / learns / learned / learned
    verstehen / versteht / verstanden / understand / understands / understood / understood
    unterrichten / unterrichtet / unterrichtet / teach / teaches / taught / taught
""")

TRANSLATE = Verb(
    "übersetzen", "", "übersetzt", "übersetzt", "translate", "translates", "translated", "translated"
)

ADJECTIVES = _adjectives(
    "neu=new alt=old groß=large klein=small rot=red grün=green blau=blue weiß=white schwarz=black "
    "teur=expensive billig=cheap schwer=heavy leicht=light schön=beautiful modern=modern seltsam=strange"
)
TRAITS = _adjectives("jung=young alt=old freundlich=friendly müd=tired klug=clever neu=new ruhig=quiet")

SINGULAR = (
    THE,
    THE,
    A,
    A,
    Determiner("ein", "mein", "my"),
    Determiner("ein", "unser", "our"),
    Determiner("ein", "kein", "no"),
    Determiner("der", "dies", "this"),
    Determiner("der", "jed", "every"),
)
"""Determiners of singular nouns; those named twice come twice as often."""

PLURAL = (
    THE,
    THE,
    Determiner("ein", "mein", "", "my"),
    Determiner("ein", "unser", "", "our"),
    Determiner("der", "dies", "", "these"),
    Determiner("number", "zwei", "", "two"),
    Determiner("number", "drei", "", "three"),
    Determiner("number", "vier", "", "four"),
    Determiner("number", "fünf", "", "five"),
)

PRONOUNS = (
    Subject("ich", "I", "ich"),
    Subject("er", "he", "third"),
    Subject("sie", "she", "third"),
    Subject("wir", "we", "plural"),
    Subject("sie", "they", "plural"),
)

SAYING = (
    Words("ich glaube, dass", "I believe that"),
    Words("er sagt, dass", "he says that"),
    Words("wir wissen, dass", "we know that"),
    Words("sie schreibt, dass", "she writes that"),
    Words("sie hoffen, dass", "they hope that"),
    Words("niemand weiß, ob", "nobody knows whether"),
    Words("er fragt, ob", "he asks whether"),
)
LINKS = (
    Words("weil", "because"),
    Words("obwohl", "although"),
    Words("wenn", "when"),
    Words("bevor", "before"),
    Words("während", "while"),
)
HOPING = (
    Words("er hofft", "he hopes"),
    Words("wir versuchen", "we try"),
    Words("sie vergisst", "she forgets"),
    Words("ich verspreche", "I promise"),
    Words("sie planen", "they plan"),
)
QUESTIONS = (Words("warum", "why"), Words("wie", "how"), Words("wo", "where"))
