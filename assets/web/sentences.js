// Ready sentences that show something, by the world a model knows.
const POCKET = [
  {
    name: "A poem",
    text: "Now Martin is home and shuts the gate,\nThe lamp is lit, the hour is late.\nI saw a hare upon its way,\nIt did not have a word to say.\nThe robin hops from tree to tree,\nAnd leaves its footprints there for me.",
  },
  {
    name: "A lost pet",
    text: "Notice: Lost pet\nMy old tortoise ran away on Thursday. It is green and likes lettuce. I last saw it in the orchard. My house is brown and stands near the smithy in Stonepeak. Many thanks!\nRita",
  },
  {
    name: "The fish pie prize",
    text: "Erik wins the fish pie prize\nThis happened in Thistledon on Friday. Erik, a shepherd, brought the best fish pie to the fair. Three people came to see. Hannah came second and was joyful all the same.",
  },
  { name: "Questions", text: "Q: What is a compass made of?\nA: It is made of brass.\nQ: Who has to sort letters and parcels?\nA: That is the work of a postal worker.\nQ: Where does a goat live?\nA: It lives in a barn." },
  { name: "Weather", text: "Good evening! This is the summer weather for Sandwick and Reedham. In Sandwick, by the sea, it will stay dry. Olga, the shepherd, says: water the flowers!" },
];
const ENGLISH = [
  { name: "A fact", text: "The Eiffel Tower is in Paris, the capital of France. It was finished in 1889 and is 330 metres high." },
  { name: "A story", text: "Once upon a time there was an old fisherman who lived alone by the sea. Every morning he rowed out, and every evening he came back with an empty net." },
  { name: "Code", text: "def mean(numbers):\n    total = 0\n    for number in numbers:\n        total += number\n    return total / len(numbers)\n" },
  { name: "Said twice", text: "When Mary and John went to the store, John gave a drink to Mary. When Mary and John went to the park, Mary gave a ball to John." },
];

export const sentencesFor = (model) => (model === "pocket" ? POCKET : ENGLISH);
