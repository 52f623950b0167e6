/** The interactive API pages: Swagger UI from the package itself, so that they work where there is no internet. */

import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";
import "swagger-ui-dist/swagger-ui.css";

SwaggerUI({ url: "/openapi.json", dom_id: "#docs", deepLinking: true });
