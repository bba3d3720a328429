-- The demo: a small chain of grocery shops. Created only where its tables do not exist yet.
SET LOCAL search_path TO public, pg_temp;

CREATE TABLE tiendas (
    id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    nombre text NOT NULL,
    ciudad text NOT NULL
);

CREATE TABLE productos (
    id        int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    nombre    text NOT NULL UNIQUE,
    categoria text NOT NULL,
    precio    numeric(10, 2) NOT NULL CHECK (precio > 0)
);

CREATE TABLE stock (
    tienda_id   int NOT NULL REFERENCES tiendas,
    producto_id int NOT NULL REFERENCES productos,
    cantidad    int NOT NULL CHECK (cantidad >= 0),
    minimo      int NOT NULL,
    PRIMARY KEY (tienda_id, producto_id)
);
CREATE INDEX stock_bajo ON stock (tienda_id, producto_id) WHERE cantidad < minimo;

CREATE TABLE ventas (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tienda_id   int NOT NULL REFERENCES tiendas,
    producto_id int NOT NULL REFERENCES productos,
    cantidad    int NOT NULL CHECK (cantidad > 0),
    total       numeric(12, 2) NOT NULL,
    creada      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ventas_creada ON ventas (creada) INCLUDE (total);

INSERT INTO tiendas (nombre, ciudad) VALUES
    ('Centro', 'Madrid'), ('Gràcia', 'Barcelona'), ('Ruzafa', 'Valencia'),
    ('Triana', 'Sevilla'), ('Deusto', 'Bilbao'), ('Vegueta', 'Las Palmas');

INSERT INTO productos (nombre, categoria, precio) VALUES
    ('Aceite de oliva virgen extra 1 l', 'Despensa', 8.95),
    ('Arroz bomba 1 kg', 'Despensa', 4.20),
    ('Garbanzos pedrosillanos 500 g', 'Despensa', 2.35),
    ('Lentejas pardinas 1 kg', 'Despensa', 2.90),
    ('Harina de trigo 1 kg', 'Despensa', 1.15),
    ('Azúcar moreno 1 kg', 'Despensa', 2.10),
    ('Sal marina 1 kg', 'Despensa', 0.95),
    ('Pimentón de la Vera', 'Despensa', 3.45),
    ('Azafrán en hebra 0,5 g', 'Despensa', 5.90),
    ('Tomate triturado 800 g', 'Conservas', 1.55),
    ('Atún claro en aceite', 'Conservas', 3.25),
    ('Mejillones en escabeche', 'Conservas', 2.95),
    ('Anchoas del Cantábrico', 'Conservas', 7.80),
    ('Pimientos del piquillo', 'Conservas', 3.60),
    ('Espárragos blancos', 'Conservas', 4.75),
    ('Café molido natural 250 g', 'Desayuno', 3.95),
    ('Té verde, 20 bolsitas', 'Desayuno', 2.45),
    ('Galletas María 800 g', 'Desayuno', 2.20),
    ('Mermelada de albaricoque', 'Desayuno', 2.65),
    ('Miel de azahar 500 g', 'Desayuno', 6.40),
    ('Chocolate a la taza', 'Desayuno', 3.15),
    ('Leche entera 1 l', 'Lácteos', 1.05),
    ('Yogur natural, 4 uds.', 'Lácteos', 1.85),
    ('Queso manchego curado 250 g', 'Lácteos', 6.95),
    ('Queso de Cabrales 150 g', 'Lácteos', 5.60),
    ('Mantequilla 250 g', 'Lácteos', 2.75),
    ('Huevos camperos, docena', 'Frescos', 3.30),
    ('Jamón ibérico 100 g', 'Frescos', 9.50),
    ('Chorizo de León', 'Frescos', 4.85),
    ('Lomo embuchado 100 g', 'Frescos', 4.40),
    ('Naranjas de mesa 2 kg', 'Fruta y verdura', 3.70),
    ('Plátanos de Canarias 1 kg', 'Fruta y verdura', 2.55),
    ('Tomates de rama 1 kg', 'Fruta y verdura', 2.40),
    ('Patatas 3 kg', 'Fruta y verdura', 3.10),
    ('Cebollas 1 kg', 'Fruta y verdura', 1.60),
    ('Agua mineral 1,5 l', 'Bebidas', 0.70),
    ('Horchata de chufa 1 l', 'Bebidas', 2.80),
    ('Vino tinto Rioja crianza', 'Bebidas', 7.25),
    ('Sidra natural asturiana', 'Bebidas', 3.05),
    ('Turrón de Jijona 250 g', 'Dulces', 6.15);

INSERT INTO stock (tienda_id, producto_id, cantidad, minimo)
SELECT t.id, p.id, minimo + (random() * 30)::int, minimo
FROM tiendas t, productos p, LATERAL (SELECT 5 + (t.id * 7 + p.id * 3) % 8 AS minimo) m;
