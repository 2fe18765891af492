"""The word tables of the pocket world: one row per entity, fields separated by bars."""

WOMEN = """
Ada Agnes Alice Amina Anna Astrid Bea Bella Bridget Carla Cora Clara Dalia Daphne Dora Edith Elena Ella Elsa Emma
Esther Eva Fatima Fiona Flora Freya Gemma Greta Hana Hannah Helen Hilda Ida Ines Ingrid Irene Iris Jana Jane Josie
Julia Karen Kira Lara Laura Leila Lena Lily Lina Lucy Luna Maja Maria Martha Maya Mia Mina Mona Nadia Nina Nora
Olga Olive Paula Petra Rita Rosa Ruth Sally Sara Selma Sofia Stella Tessa Tilda Una Vera Wanda Yara Zoe
""".split()

MEN = """
Adam Alan Albert Ali Amir Anton Arlo Arthur Basil Ben Boris Bruno Carl Cyril Daniel David Dennis Edgar Edwin Eli
Emil Erik Ezra Felix Finn Frank Fred Gabriel George Gino Gus Hamid Hans Harry Henry Hugo Igor Isaac Ivan Jacob
Jamal James Jasper Joel John Jonas Karl Karim Kofi Lars Leo Liam Louis Luca Lukas Magnus Marco Martin Max Milo
Nils Noah Olaf Omar Oscar Otto Pablo Pedro Peter Piotr Ralph Ravi Rolf Ruben Samir Simon Sven Theo Tom Victor
""".split()

# name | landscape | what stands there
TOWNS = """
Saltby | by the sea | a white lighthouse
Gullport | by the sea | a long pier
Sandwick | by the sea | a wide beach
Shellhaven | by the sea | a busy harbour
Otterford | by the river | an old stone bridge
Reedham | by the river | a water mill
Willowbank | by the river | a row of willow trees
Millbrook | by the river | a little ferry
Highcombe | in the hills | a windy tower
Sheepfell | in the hills | a wool market
Larkhill | in the hills | a kite field
Thistledon | in the hills | a steep stone road
Oakholt | in the forest | a giant oak tree
Fernwood | in the forest | a wooden chapel
Mossley | in the forest | a mushroom fair
Deerwood | in the forest | a log cabin
Lakeside | by the lake | a rowing club
Swanmere | by the lake | an island of swans
Mirrorpool | by the lake | a glass house
Wheatley | on the plain | a tall windmill
Barleyfield | on the plain | a big red barn
Longmeadow | on the plain | a horse track
Snowdale | in the mountains | a cable car
Stonepeak | in the mountains | a deep cave
"""

# preposition | name: where people meet, work, look for things
PLACES = """
at | library
at | market
at | school
at | station
at | bakery
at | harbour
at | mill
at | post office
at | town hall
at | hospital
at | museum
at | theatre
at | inn
at | farm
at | workshop
at | smithy
at | bank
at | swimming pool
in | park
in | garden
in | orchard
in | church
in | barn
in | kitchen
in | cellar
in | attic
in | bedroom
in | hall
in | shed
in | stable
in | greenhouse
in | square
in | meadow
in | tower
on | bridge
on | playground
on | pier
"""

# job | place of work | what one does
JOBS = """
baker | bakery | bake bread and buns
teacher | school | teach children to read
doctor | hospital | help people who are ill
nurse | hospital | look after sick people
farmer | farm | grow wheat and feed the cows
gardener | garden | plant flowers and water them
librarian | library | lend books to everyone
miller | mill | grind corn into flour
sailor | harbour | sail ships across the sea
fisher | harbour | catch fish in a net
postal worker | post office | sort letters and parcels
train driver | station | drive the morning train
ticket seller | station | sell tickets to travellers
blacksmith | smithy | make horseshoes and nails
carpenter | workshop | make tables and chairs
painter | workshop | paint doors and pictures
potter | workshop | make bowls out of clay
tailor | workshop | sew coats and trousers
clockmaker | workshop | mend old clocks
actor | theatre | play kings and queens
singer | theatre | sing songs on the stage
musician | theatre | play the violin
cook | inn | cook soup and stew
waiter | inn | carry plates to the tables
mayor | town hall | listen to the people of the town
clerk | town hall | write names in a big book
guide | museum | show old things to visitors
banker | bank | count coins and notes
grocer | market | sell fruit and vegetables
cheesemaker | market | make round yellow cheese
florist | market | sell roses and tulips
shepherd | meadow | look after the sheep
beekeeper | orchard | keep bees and sell honey
fruit grower | orchard | pick apples and pears
groom | stable | brush and feed the horses
vet | farm | make sick animals well
swimming coach | swimming pool | teach people to swim
bell ringer | church | ring the bells on Sunday
park keeper | park | sweep the paths and cut the grass
bridge keeper | bridge | open the bridge for tall boats
"""

# name | plural | food | home | what it does (plain verb form) | sound (or -) | class | colour
ANIMALS = """
cat | cats | fish | in a house | wash its paws | meow | pet | grey
dog | dogs | meat | in a house | wag its tail | woof | pet | brown
rabbit | rabbits | carrots | in a burrow | hop on long legs | - | pet | white
hamster | hamsters | seeds | in a cage | run in a wheel | squeak | pet | golden
guinea pig | guinea pigs | hay | in a hutch | whistle for food | squeak | pet | brown
parrot | parrots | nuts | in a cage | copy what people say | squawk | pet | green
canary | canaries | seeds | in a cage | sing all day | tweet | pet | yellow
goldfish | goldfish | flakes | in a bowl | swim in circles | - | pet | orange
tortoise | tortoises | lettuce | in a garden | carry its house on its back | - | pet | green
pony | ponies | hay | in a stable | carry children on its back | neigh | farm | brown
horse | horses | oats | in a stable | pull a cart | neigh | farm | brown
donkey | donkeys | thistles | in a stable | carry heavy bags | hee-haw | farm | grey
cow | cows | grass | in a barn | give milk | moo | farm | brown
goat | goats | leaves | in a barn | climb on everything | bleat | farm | white
sheep | sheep | grass | in a meadow | give wool | baa | farm | white
pig | pigs | potatoes | in a sty | roll in the mud | oink | farm | pink
hen | hens | corn | in a henhouse | lay eggs | cluck | farm | brown
rooster | roosters | corn | in a henhouse | wake the farm | cock-a-doodle-doo | farm | red
duck | ducks | pondweed | on a pond | swim with flat feet | quack | bird | white
goose | geese | grass | on a farm | guard the yard | honk | bird | white
turkey | turkeys | corn | on a farm | spread its tail | gobble | bird | black
swan | swans | pondweed | on a lake | hold its neck high | hiss | bird | white
robin | robins | worms | in a hedge | sing in the snow | chirp | bird | red
sparrow | sparrows | seeds | under a roof | hop in the street | chirp | bird | brown
crow | crows | worms | in a tall tree | hide shiny things | caw | bird | black
owl | owls | mice | in a hollow tree | hunt at night | hoot | bird | brown
eagle | eagles | rabbits | on a cliff | see from far away | scream | bird | brown
gull | gulls | fish | by the sea | follow the boats | squawk | bird | white
pigeon | pigeons | crumbs | in a tower | find the way home | coo | bird | grey
stork | storks | frogs | on a chimney | fly south in autumn | clatter | bird | white
heron | herons | fish | by a river | stand on one leg | - | bird | grey
woodpecker | woodpeckers | beetles | in a tree trunk | knock on wood | tap | bird | black
cuckoo | cuckoos | caterpillars | in a wood | call its own name | cuckoo | bird | grey
swallow | swallows | flies | in a barn | fly very fast | twitter | bird | blue
kingfisher | kingfishers | fish | by a river | dive like an arrow | - | bird | blue
peacock | peacocks | seeds | in a park | show its bright tail | scream | bird | blue
penguin | penguins | fish | on the ice | slide on its belly | honk | bird | black
fox | foxes | hens | in a den | walk without a sound | bark | wild | red
wolf | wolves | deer | in a forest | hunt with its family | howl | wild | grey
bear | bears | berries | in a cave | sleep all winter | growl | wild | brown
deer | deer | grass | in a forest | jump over bushes | - | wild | brown
hedgehog | hedgehogs | snails | under a hedge | roll into a ball | - | wild | brown
squirrel | squirrels | nuts | in a tree | hide food for winter | chatter | wild | red
badger | badgers | worms | in a burrow | dig long tunnels | grunt | wild | grey
mole | moles | worms | under the ground | dig in the dark | - | wild | black
mouse | mice | crumbs | in a hole | nibble at night | squeak | wild | grey
beaver | beavers | bark | in a dam | cut down trees | - | wild | brown
otter | otters | fish | by a river | play in the water | whistle | wild | brown
hare | hares | clover | in a field | run faster than a dog | - | wild | brown
bat | bats | moths | in a cave | sleep upside down | squeak | wild | black
lion | lions | meat | on dry grassland | shake its mane | roar | wild | golden
tiger | tigers | meat | in a jungle | hide in tall grass | roar | wild | orange
elephant | elephants | leaves | on warm grassland | drink with its trunk | trumpet | wild | grey
monkey | monkeys | bananas | in a jungle | swing from branches | chatter | wild | brown
camel | camels | dry grass | in a desert | walk for days without water | grunt | wild | golden
giraffe | giraffes | leaves | on warm grassland | reach the highest leaves | - | wild | yellow
kangaroo | kangaroos | grass | on a dry plain | carry its baby in a pouch | - | wild | red
seal | seals | fish | on a rock | swim under the ice | bark | sea | grey
whale | whales | tiny shrimps | in the sea | blow water into the air | song | sea | blue
dolphin | dolphins | fish | in the sea | jump over the waves | whistle | sea | grey
crab | crabs | seaweed | under a stone | walk sideways | - | sea | red
octopus | octopuses | crabs | in a sea cave | hold things with eight arms | - | sea | pink
frog | frogs | flies | in a pond | jump into the water | croak | small | green
toad | toads | slugs | under a log | sleep in the mud | croak | small | brown
snake | snakes | mice | under a rock | move without legs | hiss | small | green
lizard | lizards | flies | on a warm wall | lie in the sun | - | small | green
snail | snails | lettuce | under a leaf | leave a silver path | - | small | brown
bee | bees | nectar | in a hive | make honey | buzz | small | yellow
ant | ants | crumbs | in an anthill | work in long lines | - | small | black
spider | spiders | flies | in a web | spin thin threads | - | small | black
butterfly | butterflies | nectar | in a garden | open its bright wings | - | small | yellow
ladybird | ladybirds | greenfly | on a leaf | count its black spots | - | small | red
cricket | crickets | leaves | in the grass | sing on warm evenings | chirp | small | green
"""

# name | material | what it is used for (plain verb form)
THINGS = """
kite | paper | play in the wind
ball | rubber | play in the park
doll | cloth | play at home
drum | wood | make loud music
flute | wood | play soft tunes
violin | wood | play at the dance
guitar | wood | sing by the fire
trumpet | brass | wake the town
bell | brass | call people to dinner
whistle | silver | call the dog
lamp | brass | read at night
lantern | tin | see in the dark
candle | wax | light the room
mirror | glass | look at a new hat
comb | bone | tidy messy hair
brush | wood | paint the fence
bucket | tin | carry water
basket | straw | carry apples
bag | leather | carry books
box | wood | keep letters safe
chest | oak | keep blankets dry
jar | glass | keep honey
bottle | glass | keep milk
cup | clay | drink tea
mug | clay | drink cocoa
bowl | clay | eat soup
plate | clay | eat cake
spoon | silver | stir the soup
fork | silver | eat potatoes
knife | steel | cut bread
pot | iron | cook stew
pan | iron | fry eggs
kettle | copper | boil water
teapot | clay | make tea
sieve | tin | sift flour
rolling pin | wood | roll out dough
apron | cloth | keep clean in the kitchen
towel | cotton | dry wet hands
blanket | wool | keep warm at night
pillow | cotton | sleep well
carpet | wool | warm the floor
curtain | cloth | keep out the light
chair | wood | sit by the window
table | oak | eat with friends
bench | wood | rest in the sun
bed | wood | sleep
stool | wood | reach the top shelf
ladder | wood | climb to the roof
hammer | steel | knock in nails
saw | steel | cut planks
spade | iron | dig in the garden
rake | wood | gather leaves
axe | steel | chop wood
shovel | iron | clear the snow
broom | straw | sweep the floor
needle | steel | sew on buttons
thimble | silver | sew without pain
button | bone | close a coat
ribbon | silk | tie up a present
scarf | wool | keep warm in winter
hat | straw | keep off the sun
cap | wool | keep warm ears
coat | wool | go out in the cold
jacket | leather | ride a bicycle
shirt | cotton | look smart
dress | silk | go to the dance
belt | leather | hold up trousers
ring | gold | remember a friend
necklace | silver | look fine at a party
bracelet | gold | look fine at a party
watch | silver | tell the time
clock | brass | tell the time
compass | brass | find the way north
map | paper | find the way
key | iron | open the door
lock | iron | keep the shed shut
rope | hemp | tie up the boat
net | string | catch fish
fishing rod | wood | catch trout
boat | wood | cross the water
raft | wood | float down the river
oar | wood | row the boat
sail | cloth | catch the wind
bicycle | steel | ride to work
cart | wood | bring hay home
sledge | wood | slide down the hill
wheelbarrow | iron | move stones
saddle | leather | ride a horse
umbrella | silk | stay dry in the rain
telescope | brass | look at the stars
magnifying glass | glass | look at small insects
notebook | paper | write down ideas
diary | paper | write down each day
book | paper | learn new stories
letter | paper | send news
postcard | paper | greet a friend
stamp | paper | send a letter
pencil | wood | draw pictures
pen | steel | write letters
paintbrush | wood | paint flowers
picture | paper | brighten the wall
puzzle | wood | pass a rainy day
chess set | wood | play a slow game
toy train | tin | play on the floor
spinning top | wood | play on the floor
birdhouse | wood | give birds a home
coin | gold | buy something nice
purse | leather | carry coins
vase | glass | show fresh flowers
watering can | tin | water the plants
"""

# singular | plural, or "-" when it is not counted | colour | sort
FOODS = """
apple | apples | red | fruit
pear | pears | green | fruit
plum | plums | purple | fruit
cherry | cherries | red | fruit
peach | peaches | orange | fruit
orange | oranges | orange | fruit
lemon | lemons | yellow | fruit
banana | bananas | yellow | fruit
strawberry | strawberries | red | fruit
raspberry | raspberries | pink | fruit
blueberry | blueberries | blue | fruit
blackberry | blackberries | black | fruit
melon | melons | green | fruit
fig | figs | purple | fruit
grape | grapes | purple | fruit
carrot | carrots | orange | vegetable
potato | potatoes | brown | vegetable
onion | onions | golden | vegetable
tomato | tomatoes | red | vegetable
cucumber | cucumbers | green | vegetable
pea | peas | green | vegetable
bean | beans | green | vegetable
leek | leeks | green | vegetable
turnip | turnips | white | vegetable
beetroot | beetroots | purple | vegetable
radish | radishes | pink | vegetable
pumpkin | pumpkins | orange | vegetable
mushroom | mushrooms | brown | vegetable
cabbage | cabbages | green | vegetable
spinach | - | green | vegetable
parsley | - | green | herb
mint | - | green | herb
thyme | - | green | herb
basil | - | green | herb
flour | - | white | baking
sugar | - | white | baking
butter | - | yellow | baking
milk | - | white | baking
cream | - | white | baking
honey | - | golden | baking
cinnamon | - | brown | spice
ginger | - | yellow | spice
pepper | - | black | spice
salt | - | white | spice
vanilla | - | black | spice
egg | eggs | white | baking
walnut | walnuts | brown | nut
almond | almonds | brown | nut
hazelnut | hazelnuts | brown | nut
cheese | - | yellow | treat
bread | - | brown | treat
jam | - | red | treat
rice | - | white | treat
porridge | - | white | treat
chocolate | - | brown | treat
tomato soup | - | red | treat
pea soup | - | green | treat
fish pie | - | golden | treat
apple cake | - | golden | treat
plum tart | - | purple | treat
gingerbread | - | brown | treat
pancake | pancakes | golden | treat
dumpling | dumplings | white | treat
bun | buns | golden | treat
biscuit | biscuits | golden | treat
tea | - | brown | drink
cocoa | - | brown | drink
lemonade | - | yellow | drink
apple juice | - | golden | drink
"""

# group | words | what someone feeling so did (past)
FEELINGS = """
happy | happy, glad, cheerful, joyful, delighted | smiled from ear to ear; laughed out loud; danced around the room; hummed a merry tune
sad | sad, unhappy, gloomy, miserable | wiped away a tear; sighed deeply; sat down and cried; looked at the floor
angry | angry, cross, annoyed, furious | stamped on the ground; shouted at the wall; slammed the door; went red in the face
afraid | afraid, scared, frightened, nervous | began to tremble; turned pale; hid behind the door; hardly dared to breathe
surprised | surprised, amazed, astonished | stood with open mouth; could not say a word; blinked twice; jumped up at once
calm | calm, peaceful, relaxed | breathed slowly; leaned back and smiled; sat still for a while; closed both eyes
proud | proud, pleased | stood up very straight; told everyone about it; could not stop smiling; took a deep bow
tired | tired, sleepy, weary | yawned loudly; lay down to rest; nearly fell asleep; rubbed both eyes
lonely | lonely, homesick | looked out of the window; thought of old friends; spoke to nobody; sat alone for a long time
curious | curious, interested | asked many questions; took a closer look; came a little nearer; listened carefully
grateful | grateful, thankful | said thank you twice; gave everyone a hug; wrote a little note of thanks; bowed with a warm smile
"""

# season | months | weathers (adjective / noun / what it did / forecast) | what people do
SEASONS = """
spring | March, April, May | rainy / rain / it rained softly / light rain will fall; mild / mild air / the air was mild / it will stay mild; breezy / a fresh breeze / a fresh breeze blew / a fresh breeze will blow; sunny / sunshine / the sun shone / the sun will shine | plant seeds; paint the fences; watch the lambs; pick tulips
summer | June, July, August | hot / heat / it was very hot / it will be hot; sunny / sunshine / the sun shone / the sun will shine; stormy / thunder / thunder rolled over the roofs / thunder will roll; dry / dry air / not a drop of rain fell / it will stay dry | swim in cool water; eat ice cream; sleep in tents; pick berries
autumn | September, October, November | windy / wind / the wind blew hard / the wind will blow hard; foggy / fog / thick fog hid the houses / thick fog will come down; rainy / rain / it rained all day / rain will fall all day; cool / cool air / the air was cool / it will be cool | rake the leaves; gather nuts; fly kites; press apples
winter | December, January, February | snowy / snow / snow fell on the roofs / snow will fall; icy / ice / ice covered the ponds / ice will cover the roads; frosty / frost / frost lay on the windows / there will be frost; cold / cold air / it was bitterly cold / it will be bitterly cold | build snowmen; skate on the ice; sit by the fire; knit warm socks
"""

COLOURS = "red blue green yellow white black brown grey orange purple pink golden".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty""".split()

# past form | plain form: ways of going somewhere
MOVES = """
walked | walk
ran | run
rode | ride
hurried | hurry
wandered | wander
climbed | climb
marched | march
cycled | cycle
strolled | stroll
"""

# time of day | what it is like
TIMES = """
morning | the birds were singing
afternoon | the streets were quiet
evening | the lamps were being lit
night | the moon was up
"""
