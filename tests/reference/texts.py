"""The 150 texts whose tokens are recorded: ordinary prompts first, then everything awkward."""

ENGLISH = """a red cat, sitting on a mat
a photo of an astronaut riding a horse on mars
portrait of a woman with long hair, highly detailed, digital painting, concept art, sharp focus
masterpiece, best quality, 1girl, solo, looking at viewer
lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, cropped
mountains and rivers under the stars, cinematic lighting
A Painting Of THE BLUE SKY
the quick brown fox jumps over the lazy dog
oil on canvas, in the style of the old masters
watercolour landscape; soft, pastel -- very calm
a small house on a green hill at sunset
isometric room, low poly, blender render
cyberpunk street, neon signs, rain, reflections
a bowl of ramen, food photography, 85mm, f/1.4
supercalifragilisticexpialidocious antidisestablishmentarianism
cat
a
I
the the the the the
cat-dog hybrid, well-known half-timbered house
black & white photograph @ night #nofilter
(masterpiece:1.2), [blurry|sharp], {curly}
((very)) important \\(escaped\\) brackets
<lora:name:0.8> trigger word
red cat AND blue dog AND green bird :1.5
a cat BREAK a dog
path/to/file_name.png?x=1&y=2
user@example.com, https://example.org/a-b_c
$100, 50%, 3.14159, 1e-5, -273.15°C
x=y+z*2^8/4~!
a.b.c...d....e
hello,world;foo:bar
snake_case camelCase PascalCase kebab-case
end with space 
 start with space
double  space   triple
comma ,before ,words
!!! ??? ?! !? !!
... --- ___ ***
"double" 'single' `back`
'
''
' s
'sss
's
!'s
a'b'c""".split("\n")

CONTRACTIONS = """the king's dog didn't run
we're here, they've gone, I'm sure you'll see, she'd better stay
IT'S A DOG'S LIFE, DON'T YOU THINK? I'LL SAY
rock'n'roll, o'clock, ma'am, y'all'd've
the cats' toys; James's hat
can’t won’t it’s (curly quotes)
'tis the season, 'twas the night
it's's 'd'd 're've""".split("\n")

NUMBERS = """1
12345
2024-06-15 12:34:56
8k uhd, 4k, 1080p, 35mm f1.8
1st 2nd 3rd 4th
３ full width １２３
½ ¼ ² ³ ① ② Ⅳ ⅷ
٣٤٥ arabic digits, १२३ devanagari
1,000,000.00
v1.5 sd15 sd2.1 xl0.9""".split("\n")

ACCENTS_NFC = [
    "café au lait", "naïve façade", "Ångström, Øresund, Æsir", "über-straße, GROSSE STRAẞE", "señor, mañana, ¿qué? ¡olé!",
    "Ελληνικά ΣΊΣΥΦΟΣ ὈΔΥΣΣΕΎΣ", "русский текст, Ёлка, МОСКВА", "İstanbul ILIK ığdır", "Việt Nam, Đà Nẵng, phở",
    "żółć ŁÓDŹ ćma", "ǅ ǆ Ǆ titlecase", "ﬁ ﬂ ligatures, ſ long s", "ŉ ĸ ŋ", "K Å Ω (Kelvin, Angstrom, Ohm signs)",
]
ACCENTS_NFD = [
    "cafe\u0301 au lait", "nai\u0308ve fac\u0327ade", "A\u030angstro\u0308m", "man\u0303ana", "Vie\u0323\u0302t Nam",
    "e\u0301\u0301 two marks", "x\u0301 no composed form", "\u0301 alone", "a\u0316\u0301 order a\u0301\u0316",
    "\u1112\u1161\u11ab\u1100\u1173\u11af (conjoining jamo)", "\u0958 \u0929 excluded compositions", "I\u0307 i\u0307",
]
OTHER_SCRIPTS = [
    "一只红色的猫坐在垫子上", "赤い猫がマットの上に座っている", "カタカナ ｶﾀｶﾅ ひらがな", "빨간 고양이", "قطة حمراء جالسة", "חתול אדום",
    "लाल बिल्ली", "แมวสีแดง", "ქართული ᲥᲐᲠᲗᲣᲚᲘ", "አማርኛ", "Ꭰ ꭰ cherokee", "𝔊𝔬𝔱𝔥𝔦𝔠 𝐛𝐨𝐥𝐝", "𐐀 𐐨 deseret", "猫cat猫123猫",
    "、。「」！？～", "ｆｕｌｌｗｉｄｔｈ ＡＢＣ", "မြန်မာ", "བོད་ཡིག", "mixed русский and 中文 and عربي",
]
EMOJI = [
    "🐈", "a 🐈 on a 🟥", "👩‍🚀 astronaut", "👍🏽 skin tone", "🇯🇵🇩🇪 flags", "❤️ heart ❤ bare", "☺︎ text style", "#️⃣ 1️⃣",
    "🏳️‍🌈", "✨masterpiece✨", "😀😀😀", "🧑‍🧑‍🧒‍🧒 family", "→ ← ↑ ↓ ⇒ ∀ ∃ ∈ ≤ ≥", "€ £ ¥ ¢ ₿", "™ © ® № ℡",
]
CONTROL_AND_SPACE = [
    "", " ", "   ", "\n", "\t", "a\tb\nc\r\nd", "a\u00a0b no-break", "a\u2003b em space", "a\u3000b ideographic", "a\u200bb zero width",
    "a\u200db joiner", "\ufeffbom first", "a\u0000b nul", "a\u0007b bell", "a\u001fb unit separator", "a\u001cb file separator",
    "a\u0085b next line", "a\u000bb\u000cc vertical tab, form feed", "a\u2028b\u2029c separators", "a\u180eb mongolian", "a\u00adb soft hyphen",
    "a\u202eb right to left override", "\u0080\u009f c1 controls", "\ufffd replacement \ufffe non-character", "\U0010ffff last",
    "a\u2060b word joiner", "\x7f delete",
]
SPECIAL = [
    "<|startoftext|>", "a <|endoftext|> b", "<|STARTOFTEXT|> upper", "<|endoftext|><|endoftext|>", "<|endoftext |>", "</w> a</w> b",
    "##ing Ġspace Ċ", "!</w>", "<|", "|>",
]
LONG = [
    ", ".join(ENGLISH[:8]),
    "very " * 90 + "long",
    "a" * 120,
    "!" * 90,
]

TEXTS = ENGLISH + CONTRACTIONS + NUMBERS + ACCENTS_NFC + ACCENTS_NFD + OTHER_SCRIPTS + EMOJI + CONTROL_AND_SPACE + SPECIAL + LONG
