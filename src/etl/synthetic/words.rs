//! The words that names and titles are made of. None is copied from IMDb.

use crate::etl::random::Draws;

#[rustfmt::skip]
const FIRST: &[&str] = &[
    "Ada", "Agnès", "Ahmed", "Aiko", "Åke", "Alejandro", "Alice", "Amina", "Ana", "André", "Anna", "António", "Ayşe",
    "Béla", "Bengt", "Bjørn", "Carlos", "Carmen", "Cem", "Chen", "Chloé", "Clara", "Dana", "David", "Deepa", "Dmitri",
    "Eleni", "Elif", "Emma", "Erik", "Éva", "Fatima", "Françoise", "Frank", "George", "Giulia", "Grace", "Gülşen",
    "Hana", "Hans", "Hélène", "Henry", "Ibrahim", "Inês", "Ingrid", "Irene", "Ivan", "Jack", "James", "Jan", "Jane",
    "Javier", "Jean", "João", "John", "José", "Judit", "Jürgen", "Kamala", "Karl", "Kateřina", "Kenji", "Kim", "Lars",
    "Laura", "Leila", "Li", "Lucía", "Łukasz", "Maria", "Mark", "Martha", "Matthias", "Mei", "Mary", "Michael",
    "Miloš", "Mohamed", "Nadia", "Naoko", "Nikos", "Nina", "Noël", "Olga", "Omar", "Paul", "Pedro", "Peter", "Priya",
    "Rafael", "Raj", "René", "Robert", "Rosa", "Ruth", "Søren", "Sam", "Sara", "Seán", "Sofia", "Sunil", "Susan",
    "Tadeusz", "Tomás", "Thomas", "Ulla", "Vera", "Wei", "William", "Yasmin", "Yuki", "Zoë", "Zsófia",
];

#[rustfmt::skip]
const LAST: &[&str] = &[
    "Abe", "Adams", "Ağaoğlu", "Ali", "Andersson", "Baker", "Barbosa", "Becker", "Bianchi", "Brown", "Cohen", "Costa",
    "Çelik", "D'Angelo", "da Silva", "de la Cruz", "Dvořák", "Eriksen", "Fernández", "Fischer", "Fraser", "Gonçalves",
    "García", "Gupta", "Hansen", "Horváth", "Ito", "Ivanova", "Jensen", "Johnson", "Jones", "Kaya", "Khan", "Kim",
    "Kováč", "Kowalski", "Kumar", "Lefèvre", "Lee", "Lindström", "Lopez", "MacDonald", "Mäkinen", "Martin", "Meyer",
    "Müller", "Murphy", "Nagy", "Nakamura", "Nguyễn", "Novák", "O'Brien", "O'Neill", "Øvergård", "Papadopoulos",
    "Patel", "Pereira", "Petrov", "Popescu", "Rossi", "Roux", "Saint-Clair", "Santos", "Sato", "Schmidt", "Sharma",
    "Singh", "Smith", "Suzuki", "Szabó", "Tanaka", "Taylor", "Thompson", "Tóth", "van den Berg", "Wagner", "Walker",
    "Wang", "Weiß", "Williams", "Wilson", "Wójcik", "Yılmaz", "Young", "Zhang", "Zimmermann",
];

/// Surnames are also put together from these, so that there are as many as a large file has.
#[rustfmt::skip]
const BEGIN: &[&str] = &[
    "Al", "Ar", "Bar", "Bel", "Ber", "Bran", "Cal", "Car", "Cor", "Dal", "Dor", "El", "Fal", "Fer", "Gar", "Gor",
    "Hal", "Har", "Hol", "Jar", "Kal", "Kar", "Kor", "Lan", "Lor", "Mal", "Mar", "Mor", "Nor", "Ol", "Par", "Per",
    "Ros", "Sal", "San", "Sor", "Tar", "Tor", "Val", "Wal",
];
#[rustfmt::skip]
const MIDDLE: &[&str] = &[
    "a", "am", "an", "ar", "av", "be", "da", "de", "der", "di", "e", "en", "er", "gen", "go", "i", "in", "ka", "ken",
    "la", "li", "lo", "ma", "men", "mi", "na", "nen", "ni", "o", "on", "ra", "ri", "sa", "sen", "ta", "ten", "ti",
    "u", "va", "vi",
];
#[rustfmt::skip]
const END: &[&str] = &[
    "berg", "by", "dal", "den", "der", "dez", "feld", "ford", "ham", "hoff", "ian", "ić", "ini", "ira", "kar", "kis",
    "kov", "ley", "lund", "mann", "mer", "nen", "ner", "nez", "off", "oğlu", "poulos", "quist", "ridge", "sen", "ska",
    "ski", "son", "stad", "ström", "ton", "vić", "well", "wood", "yan",
];

#[rustfmt::skip]
const ADJECTIVE: &[&str] = &[
    "Absent", "Ancient", "Bitter", "Black", "Blue", "Borrowed", "Broken", "Brave", "Burning", "Cold", "Crimson",
    "Crooked", "Dark", "Distant", "Empty", "Endless", "Fallen", "False", "First", "Forgotten", "Frozen", "Gentle",
    "Golden", "Great", "Green", "Hidden", "Hollow", "Last", "Little", "Lonely", "Long", "Lost", "Lucky", "New", "Old",
    "Open", "Other", "Painted", "Perfect", "Quiet", "Red", "Restless", "Sacred", "Second", "Secret", "Silent",
    "Silver", "Slow", "Small", "Strange", "Sweet", "Third", "Unknown", "Wandering", "White", "Wild", "Winter",
    "Young",
];

#[rustfmt::skip]
const NOUN: &[&str] = &[
    "Afternoon", "Angel", "Autumn", "Bell", "Bird", "Boat", "Border", "Bridge", "Brother", "Café", "Captain",
    "Castle", "Child", "Circus", "City", "Cloud", "Coast", "Crown", "Dance", "Daughter", "Day", "Desert", "Detective",
    "Dinner", "Doctor", "Dog", "Door", "Dream", "Echo", "Edge", "Empire", "Enemy", "Fiancée", "Field", "Fire", "Fish",
    "Flower", "Forest", "Friend", "Game", "Garden", "Ghost", "Gift", "Glass", "Gold", "Guest", "Harbour", "Heart",
    "Heir", "Home", "Horse", "Hour", "House", "Hunter", "Island", "Journey", "Judge", "Key", "King", "Kitchen",
    "Lake", "Lamp", "Land", "Letter", "Light", "Lion", "Love", "Machine", "Map", "Market", "Mirror", "Moon",
    "Morning", "Mother", "Mountain", "Music", "Night", "Ocean", "Orchard", "Painter", "Party", "Path", "Piano",
    "Picture", "Planet", "Promise", "Queen", "Rain", "River", "Road", "Room", "Rose", "School", "Sea", "Shadow",
    "Ship", "Sister", "Sky", "Snow", "Soldier", "Song", "Stage", "Star", "Stone", "Storm", "Story", "Stranger",
    "Street", "Summer", "Sun", "Table", "Teacher", "Theatre", "Thief", "Tiger", "Time", "Tower", "Train", "Tree",
    "Valley", "Village", "Voice", "Voyage", "War", "Water", "Wedding", "Widow", "Wind", "Window", "Wolf", "Woman",
    "World", "Year",
];

/// Words of titles in other languages, by the script that their regions read.
#[rustfmt::skip]
const ABROAD: [&[&str]; 9] = [
    &["El camino", "La niña", "El corazón", "La última noche", "El pájaro", "Los años", "La montaña", "El señor", "Mañana"],
    &["O coração", "A viagem", "Amanhã", "O irmão", "A canção", "Três irmãs", "O avô", "A manhã", "Não"],
    &["L'été", "La forêt", "Le garçon", "À demain", "L'île", "La fenêtre", "Le frère", "Noël", "L'hôtel"],
    &["Der Weg", "Die Brücke", "Das Mädchen", "Schöne Grüße", "Der König", "Die Tür", "Über Nacht", "Das Schloß", "Fünf"],
    &["Il cuore", "La città", "Perché", "L'ultima notte", "Il cielo", "La felicità", "Domani", "Il fiume", "Così"],
    &["夜", "東京物語", "春の海", "約束", "花火", "さよなら", "ドラマ", "旅人", "手紙"],
    &["Дорога", "Ночь", "Весна", "Мой брат", "Зима", "Письмо", "Дом", "Жизнь", "Любовь"],
    &["Ο δρόμος", "Η νύχτα", "Το καλοκαίρι", "Η θάλασσα", "Ο αδελφός", "Το γράμμα", "Το σπίτι", "Η άνοιξη", "Φως"],
    &["रात", "सपना", "प्रेम", "रास्ता", "घर", "दोस्त", "बारिश", "कहानी", "आसमान"],
];

/// Which of [`ABROAD`]'s lists the script of a language is; `None`: the title stays as it is.
pub(super) fn abroad(language: &str, draws: &mut Draws) -> Option<&'static str> {
    let known = ["es", "pt", "fr", "de", "it", "ja", "ru", "el", "hi"];
    let list = known.iter().position(|known| *known == language)?;
    Some(draws.one_of(ABROAD[list]))
}

/// A person's name.
pub(super) fn person(draws: &mut Draws, into: &mut String) {
    into.push_str(draws.one_of(FIRST));
    into.push(' ');
    match draws.below(100) {
        0..20 => {
            into.push((b'A' + draws.below(26) as u8) as char);
            into.push_str(". ");
        }
        20 => {
            into.push('"');
            into.push_str(draws.one_of(FIRST));
            into.push_str("\" ");
        }
        _ => {}
    }
    surname(draws, into);
    if draws.below(200) == 0 {
        into.push_str(", Jr.");
    }
}

fn surname(draws: &mut Draws, into: &mut String) {
    if draws.below(10) < 4 {
        return into.push_str(draws.one_of(LAST));
    }
    for part in [BEGIN, MIDDLE, END] {
        into.push_str(draws.one_of(part));
    }
}

/// What somebody plays.
pub(super) fn character(draws: &mut Draws, into: &mut String) {
    match draws.below(10) {
        0..4 => into.push_str(draws.one_of(FIRST)),
        4..7 => {
            into.push_str(draws.one_of(FIRST));
            into.push(' ');
            surname(draws, into);
        }
        7 => {
            into.push_str("The ");
            into.push_str(draws.one_of(NOUN));
        }
        _ => {
            into.push_str(draws.one_of(ADJECTIVE));
            into.push(' ');
            into.push_str(draws.one_of(NOUN));
        }
    }
}

/// A title.
pub(super) fn title(draws: &mut Draws, into: &mut String) {
    let (adjective, noun, other) = (draws.one_of(ADJECTIVE), draws.one_of(NOUN), draws.one_of(NOUN));
    let parts: &[&str] = match draws.below(20) {
        0..4 => &["The ", adjective, " ", noun],
        4..7 => &[adjective, " ", noun],
        7..9 => &["The ", noun, " of the ", adjective, " ", other],
        9..11 => &[noun, " and ", other],
        11 => &[noun, ", ", other, " and the ", adjective, " ", noun],
        12 => &["\"", adjective, " ", noun, "\""],
        13 => &["The ", noun, "'s ", adjective, " ", other],
        14 => &[noun, ": The ", adjective, " ", other],
        15 => &["A ", noun, " in the ", other],
        16 => &["Who Is the ", noun, "?"],
        17 => &[adjective, " ", noun, " - ", adjective, " ", other, " & the ", noun],
        18 => &["The ", noun],
        _ => {
            into.push_str(draws.one_of(FIRST));
            &["'s ", adjective, " ", noun]
        }
    };
    parts.iter().for_each(|part| into.push_str(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files know no escapes, and lists are joined with commas.
    #[test]
    fn words_hold_nothing_that_separates() {
        let all = [FIRST, LAST, BEGIN, MIDDLE, END, ADJECTIVE, NOUN].into_iter().chain(ABROAD);
        for word in all.flatten() {
            assert!(!word.is_empty() && !word.contains(['\t', '\n', '\r', '\\', ',', '"', '\u{8}']), "{word}");
        }
    }
}
